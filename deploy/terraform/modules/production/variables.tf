variable "name" {
  description = "Name of the database instance."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "RDS needs subnets in at least two zones."
  }
}

variable "client_security_group_ids" {
  description = "Security groups that may connect, by what they are."
  type        = map(string)
}

variable "instance_class" {
  description = "RDS class. Graviton by default; docs/sizing.md says which."
  type        = string
  default     = "db.m7g.large"
}

variable "storage_gib" {
  description = "Storage at first; below 400 GiB gp3 has 3000 operations a second."
  type        = number
  default     = 400

  validation {
    condition     = var.storage_gib >= 100
    error_message = "storage_gib must be 100 at least."
  }
}

variable "storage_most_gib" {
  description = "Up to which it may grow by itself."
  type        = number
  default     = 4000
}

variable "multi_az" {
  description = "A standby in another zone, to which RDS changes by itself."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days to any point of which production can be restored. retention.keep_after_ack of the gatherers decides how far back nothing is missing."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_days >= 3 && var.backup_days <= 35
    error_message = "backup_days must be 3 to 35: the gatherers keep three days."
  }
}

variable "deletion_protection" {
  description = "Whether RDS refuses to delete it. Off for rehearsals only."
  type        = bool
  default     = true
}

variable "alarm_topic_arns" {
  description = "SNS topics that are notified when it is not well."
  type        = list(string)
  default     = []
}
