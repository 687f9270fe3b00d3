variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC; a /16 to a /20 leaves room for three private and three public subnets."
  type        = string

  validation {
    condition     = can(cidrsubnet(var.cidr, 8, 0)) && tonumber(split("/", var.cidr)[1]) <= 20
    error_message = "cidr must be an IPv4 range of /20 or larger, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, one per gatherer. Each has subnets and a NAT gateway of its own, so that no zone depends on another."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must name at least two different availability zones."
  }
}

variable "one_exit" {
  description = "One NAT gateway, in the first zone, for all of them: cheaper, and no zone outlives the first one's."
  type        = bool
  default     = false
}

variable "flow_log_retention_days" {
  description = "Days for which the VPC's flow log is kept."
  type        = number
  default     = 30
}
