variable "name" {
  description = "Name of the machine whose data it holds."
  type        = string
}

variable "zone" {
  description = "Availability zone; it can be attached to machines of this zone alone."
  type        = string
}

variable "gib" {
  description = "Size."
  type        = number

  validation {
    condition     = var.gib >= 20 && var.gib <= 16384
    error_message = "gib must be 20 to 16384."
  }
}

variable "iops" {
  description = "Operations a second (gp3)."
  type        = number
  default     = 3000
}

variable "mib_per_second" {
  description = "Throughput (gp3)."
  type        = number
  default     = 125
}

variable "keep_final_snapshot" {
  description = "Whether it is snapshotted before it is destroyed."
  type        = bool
  default     = true
}
