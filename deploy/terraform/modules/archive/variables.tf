variable "bucket" {
  description = "Name of the bucket; globally unique."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,62}$", var.bucket))
    error_message = "bucket must be 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "prefix" {
  description = "What the fleet's keys in the bucket begin with, without a slash at its end; empty for none."
  type        = string
  default     = ""
}

variable "raw_infrequent_after_days" {
  description = "Days after which raw frames move to STANDARD_IA (30 at least: S3's own rule)."
  type        = number
  default     = 30

  validation {
    condition     = var.raw_infrequent_after_days >= 30
    error_message = "S3 moves nothing to STANDARD_IA before 30 days."
  }
}

variable "raw_glacier_after_days" {
  description = "Days after which raw frames move to GLACIER_IR: readable at once, costlier to read."
  type        = number
  default     = 90
}

variable "relations_infrequent_after_days" {
  description = "Days after which relations and manifests move to STANDARD_IA."
  type        = number
  default     = 90

  validation {
    condition     = var.relations_infrequent_after_days >= 30
    error_message = "S3 moves nothing to STANDARD_IA before 30 days."
  }
}

variable "noncurrent_days" {
  description = "Days for which replaced versions of an hour are kept; manifests name versions, and `fleet query` reads them."
  type        = number
  default     = 90
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete the archive with all that is in it. For rehearsals only."
  type        = bool
  default     = false
}
