# Production: three zones, standby, protection against deletion.

provider "aws" {
  region = "us-east-2"

  default_tags {
    tags = { Fleet = "kalshi-fleet", Environment = "prod" }
  }
}

module "fleet" {
  source = "../.."

  name = "kalshi-fleet"
  gatherers = {
    gatherer-a = { zone = "us-east-2a" }
    gatherer-b = { zone = "us-east-2b" }
    gatherer-c = { zone = "us-east-2c" }
  }
  archive          = { bucket = var.bucket }
  release          = var.release
  alarm_topic_arns = var.alarm_topic_arns
}
