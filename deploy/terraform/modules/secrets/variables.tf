variable "name" {
  description = "Prefix of the secrets' names."
  type        = string
}

variable "secrets" {
  description = "What is kept, by name: what it is for, and which keys its JSON has. The values are put in by a person, and never reach Terraform or its state."
  type = map(object({
    description = string
    keys        = list(string)
  }))
}

variable "recovery_days" {
  description = "Days for which a deleted secret can be had back; 0 deletes at once (rehearsals)."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_days == 0 || (var.recovery_days >= 7 && var.recovery_days <= 30)
    error_message = "recovery_days must be 0, or 7 to 30."
  }
}
