variable "bucket" {
  description = "Name of the archive's bucket; globally unique."
  type        = string
}

variable "release" {
  description = "What `make release` made, and a person put into the bucket."
  type        = object({ key = string, sha256 = string })
}

variable "alarm_topic_arns" {
  description = "SNS topics that CloudWatch's alarms go to."
  type        = list(string)
  default     = []
}
