variable "region" {
  description = "AWS region of the machines and of the bucket."
  type        = string
}

variable "domain" {
  description = "Domain of the machines' names."
  type        = string
}

variable "zone_id" {
  description = "Private hosted zone of that domain."
  type        = string
}

variable "client_cidr" {
  description = "Addresses from which a gatherer's database may be read (its security group says which machines): the VPC's range."
  type        = string
}

variable "gatherers" {
  description = "Gatherers by id: the volume of its data, how many connections, and how much of its memory the service may use."
  type = map(object({
    volume_id   = string
    connections = object({ orderbook = number, trade = number, ticker = number, lifecycle = number })
    journal_gib = number
    memory_max  = string
  }))
}

variable "deduplicator_memory_max" {
  description = "How much memory the deduplicator's service may use, as systemd writes it."
  type        = string
}

variable "kalshi" {
  description = "The exchange's addresses, and the WebSocket library."
  type        = object({ rest_url = string, ws_url = string, transport = string })
}

variable "production_address" {
  description = "Host name of production."
  type        = string
}

variable "retention_days" {
  description = "Days of order-book changes in production."
  type        = number
}

variable "archive" {
  description = "The archive's bucket and prefix."
  type        = object({ bucket = string, prefix = string })
}

variable "secrets" {
  description = "Full names of the secrets, by short name."
  type        = map(string)
}

variable "release" {
  description = "What `make release` made: the key in the bucket, and its SHA-256."
  type        = object({ key = string, sha256 = string })
}

variable "log_group" {
  description = "CloudWatch log group."
  type        = string
}

variable "log_streams" {
  description = "Each machine's stream in that group, by id: the one that its role may write."
  type        = map(string)
}

variable "postgresql" {
  description = "The gatherers' database: PostgreSQL's major version, and the release of TimescaleDB that is installed and kept (null: plain PostgreSQL)."
  type        = object({ version = string, timescaledb = string })
  default     = { version = "17", timescaledb = "2.28.3" }
}

variable "alert_webhooks" {
  description = "Secret with the addresses that alerts go to, by short name; null without a monitoring host."
  type        = string
  default     = null
}
