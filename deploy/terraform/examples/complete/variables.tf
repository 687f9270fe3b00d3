variable "region" {
  description = "AWS region; the exchange's servers are in us-east-2."
  type        = string
  default     = "us-east-2"
}

variable "name" {
  description = "Name of the fleet."
  type        = string
  default     = "kalshi-fleet"
}

variable "bucket" {
  description = "Name of the archive's bucket; globally unique."
  type        = string
}

variable "release" {
  description = "What `make release` made."
  type        = object({ key = string, sha256 = string })
}

variable "ami_id" {
  description = "Image of the machines; null for Debian's newest."
  type        = string
  default     = null
}

variable "rehearsal" {
  description = "Whether all of it must be easy to take down again, data and all."
  type        = bool
  default     = false
}
