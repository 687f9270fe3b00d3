variable "name" {
  description = "Name of the machine, and of everything that belongs to it."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets that it may start in. One alone if it has a data volume, which cannot leave its zone."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "A machine needs a subnet."
  }
}

variable "ami_id" {
  description = "Image: Debian 12 or newer, of the instance type's architecture."
  type        = string
}

variable "instance_type" {
  description = "Instance type. Graviton by default."
  type        = string
}

variable "has_data" {
  description = "Whether the machine has a data volume, which outlives it."
  type        = bool
  default     = false
}

variable "volume_arn" {
  description = "The data volume, if it has one."
  type        = string
  default     = null
}

variable "root_gib" {
  description = "Size of the root volume, which is made again with each machine."
  type        = number
  default     = 20
}

variable "user_data" {
  description = "cloud-init's document."
  type        = string
}

variable "zone_id" {
  description = "Private hosted zone in which the machine writes its own address."
  type        = string
}

variable "host_name" {
  description = "The machine's full name in that zone."
  type        = string
}

variable "secret_arns" {
  description = "Secrets that the machine reads, and no others."
  type        = list(string)
  default     = []
}

variable "policy_json" {
  description = "What else the machine may do, as a policy: its part of the bucket."
  type        = string
}

variable "log_group_arn" {
  description = "Log group that the machine writes to."
  type        = string
}

variable "log_group_name" {
  description = "The same group's name."
  type        = string
}

variable "health_grace_seconds" {
  description = "Seconds before a new machine must be healthy."
  type        = number
  default     = 600
}

variable "alarm_topic_arns" {
  description = "SNS topics that are notified when the machine is not well."
  type        = list(string)
  default     = []
}
