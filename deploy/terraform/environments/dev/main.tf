# Development: the exchange's demo, small machines, no standby; easy to take down.

provider "aws" {
  region = "us-east-2"

  default_tags {
    tags = { Fleet = "kalshi-fleet-dev", Environment = "dev" }
  }
}

module "fleet" {
  source = "../.."

  name = "kalshi-fleet-dev"
  cidr = "10.43.0.0/16"
  gatherers = {
    gatherer-a = { zone = "us-east-2a", instance_type = "t4g.medium", data_gib = 60, journal_gib = 10, memory_max = "2G", connections = { orderbook = 20 } }
    gatherer-b = { zone = "us-east-2b", instance_type = "t4g.medium", data_gib = 60, journal_gib = 10, memory_max = "2G", connections = { orderbook = 20 } }
    gatherer-c = { zone = "us-east-2c", instance_type = "t4g.medium", data_gib = 60, journal_gib = 10, memory_max = "2G", connections = { orderbook = 20 } }
  }
  deduplicator = { instance_type = "t4g.medium", memory_max = "3G" }
  production = {
    instance_class      = "db.t4g.medium"
    storage_gib         = 100
    multi_az            = false
    backup_days         = 3
    deletion_protection = false
    retention_days      = 7
  }
  kalshi = {
    rest_url = "https://external-api.demo.kalshi.co/trade-api/v2"
    ws_url   = "wss://external-api-ws.demo.kalshi.co/trade-api/ws/v2"
  }
  archive          = { bucket = var.bucket, force_destroy = true }
  release          = var.release
  one_exit         = true
  monitoring       = { enabled = false }
  alarm_topic_arns = var.alarm_topic_arns
}
