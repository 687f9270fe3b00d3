variable "name" {
  description = "Name of the fleet, and prefix of everything that belongs to it."
  type        = string
  default     = "kalshi-fleet"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name must be 3 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "cidr" {
  description = "Address range of the fleet's own VPC."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr))
    error_message = "cidr must be an IPv4 range such as 10.42.0.0/16."
  }
}

variable "gatherers" {
  description = "Gatherers by id: each in a zone of its own, on a disk of its own. The exchange allows an account 200 connections: one account and key per gatherer."
  type = map(object({
    zone                = string
    instance_type       = optional(string, "m7g.large")
    data_gib            = optional(number, 300)
    data_iops           = optional(number, 3000)
    data_mib_per_second = optional(number, 250)
    journal_gib         = optional(number, 50)
    memory_max          = optional(string, "5G")
    connections = optional(object({
      orderbook = optional(number, 144)
      trade     = optional(number, 2)
      ticker    = optional(number, 2)
      lifecycle = optional(number, 2)
    }), {})
  }))

  validation {
    condition     = length(distinct([for gatherer in var.gatherers : gatherer.zone])) == length(var.gatherers)
    error_message = "Each gatherer must be in a zone of its own: what two in one zone record is lost together."
  }

  validation {
    condition     = length(var.gatherers) >= 2 && length(var.gatherers) <= 8
    error_message = "There must be 2 to 8 gatherers; three are recommended."
  }

  validation {
    condition     = alltrue([for id, gatherer in var.gatherers : can(regex("^[a-z0-9][a-z0-9-]{0,30}$", id))])
    error_message = "A gatherer's id is lower-case letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for gatherer in var.gatherers : gatherer.journal_gib <= gatherer.data_gib / 2])
    error_message = "journal_gib may be half of data_gib at most: the database lives on the same disk."
  }

  validation {
    condition     = alltrue([for gatherer in var.gatherers : gatherer.connections.orderbook + gatherer.connections.trade + gatherer.connections.ticker + gatherer.connections.lifecycle <= 190])
    error_message = "An account has 200 connections, and reconnecting needs room for some more than are configured: 190 at most."
  }
}

variable "deduplicator" {
  description = "The deduplicator's machine."
  type = object({
    instance_type = optional(string, "m7g.large")
    memory_max    = optional(string, "6G")
    root_gib      = optional(number, 60)
  })
  default = {}
}

variable "kalshi" {
  description = "The exchange's addresses, and the WebSocket library."
  type = object({
    rest_url  = optional(string, "https://external-api.kalshi.com/trade-api/v2")
    ws_url    = optional(string, "wss://external-api-ws.kalshi.com/trade-api/ws/v2")
    transport = optional(string, "websockets")
  })
  default = {}

  validation {
    condition     = contains(["websockets", "picows", "aiohttp"], var.kalshi.transport)
    error_message = "transport must be websockets, picows or aiohttp."
  }

  validation {
    condition     = startswith(var.kalshi.rest_url, "https://") && startswith(var.kalshi.ws_url, "wss://")
    error_message = "The exchange is reached over TLS only: https:// and wss://."
  }
}

variable "postgresql" {
  description = "The gatherers' database: PostgreSQL's major version, and the release of TimescaleDB that is installed and kept (null: plain PostgreSQL). Neither changes by itself."
  type = object({
    version     = optional(string, "17")
    timescaledb = optional(string, "2.28.3")
  })
  default = {}

  validation {
    condition     = contains(["15", "16", "17"], var.postgresql.version) && can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", coalesce(var.postgresql.timescaledb, "0.0.0")))
    error_message = "postgresql.version is 15, 16 or 17; postgresql.timescaledb a release such as 2.28.3, or null."
  }
}

variable "one_exit" {
  description = "One NAT gateway for all zones instead of one in each: a third of the price and of the public addresses, and its zone's end is the end of all recording. For development."
  type        = bool
  default     = false
}

variable "production" {
  description = "The production database; docs/sizing.md says how large."
  type = object({
    instance_class      = optional(string, "db.m7g.large")
    storage_gib         = optional(number, 400)
    storage_most_gib    = optional(number, 4000)
    multi_az            = optional(bool, true)
    backup_days         = optional(number, 14)
    deletion_protection = optional(bool, true)
    retention_days      = optional(number, 30)
  })
  default = {}
}

variable "archive" {
  description = "The archive's bucket: its name, and when what moves to cheaper classes. `force_destroy` is for rehearsals only."
  type = object({
    bucket                          = string
    prefix                          = optional(string, "")
    raw_infrequent_after_days       = optional(number, 30)
    raw_glacier_after_days          = optional(number, 90)
    relations_infrequent_after_days = optional(number, 90)
    noncurrent_days                 = optional(number, 90)
    force_destroy                   = optional(bool, false)
    athena_scan_limit_bytes         = optional(number, 100000000000)
  })
}

variable "release" {
  description = "The application, as `make release` made it and a person put it into the bucket: its key, and its SHA-256."
  type = object({
    key    = string
    sha256 = string
  })

  validation {
    condition     = can(regex("^releases/[A-Za-z0-9._/-]+\\.tar\\.gz$", var.release.key)) && can(regex("^[0-9a-f]{64}$", var.release.sha256))
    error_message = "release.key must be releases/….tar.gz, and release.sha256 the 64 digits that `make release` printed."
  }
}

variable "ami_id" {
  description = "Image of all machines: Debian 12 for arm64. Null asks Debian's own parameter for the newest one."
  type        = string
  default     = null
}

variable "monitoring" {
  description = "Prometheus, Alertmanager and Grafana on a machine of their own; off if you have your own."
  type = object({
    enabled       = optional(bool, true)
    instance_type = optional(string, "t4g.medium")
    root_gib      = optional(number, 60)
  })
  default = {}
}

variable "alarm_topic_arns" {
  description = "SNS topics that CloudWatch's alarms go to."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the processes' logs."
  type        = number
  default     = 30
}

variable "secret_recovery_days" {
  description = "Days for which a deleted secret can be had back; 0 for rehearsals."
  type        = number
  default     = 30
}

variable "keep_final_snapshots" {
  description = "Whether data volumes are snapshotted before they are destroyed."
  type        = bool
  default     = true
}
