variable "database" {
  description = "Name of Glue's database, and of Athena's workgroup."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database))
    error_message = "database must be lower-case letters, digits and underscores."
  }
}

variable "bucket" {
  description = "The archive's bucket."
  type        = string
}

variable "prefix" {
  description = "Before every key, without a slash at its end; usually empty."
  type        = string
  default     = ""
}

variable "scan_limit_bytes" {
  description = "A query that would read more is ended: what a mistake may cost. 100 GB are half a dollar."
  type        = number
  default     = 100000000000

  validation {
    condition     = var.scan_limit_bytes >= 10485760
    error_message = "Athena's smallest limit is 10 MiB."
  }
}
