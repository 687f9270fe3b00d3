# Everything, with three gatherers in three zones; what a rehearsal needs to be taken down again is a variable.

provider "aws" {
  region = var.region

  default_tags {
    tags = { Fleet = var.name }
  }
}

module "fleet" {
  source = "../.."

  name = var.name
  gatherers = {
    gatherer-a = { zone = "${var.region}a" }
    gatherer-b = { zone = "${var.region}b" }
    gatherer-c = { zone = "${var.region}c" }
  }
  archive = {
    bucket        = var.bucket
    force_destroy = var.rehearsal
  }
  production = {
    deletion_protection = !var.rehearsal
  }
  secret_recovery_days = var.rehearsal ? 0 : 30
  keep_final_snapshots = !var.rehearsal
  ami_id               = var.ami_id
  release              = var.release
  alarm_topic_arns     = [aws_sns_topic.alarms.arn]
}

# CloudWatch's alarms; subscribe to it by hand (a mail address must confirm).
resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = "alias/aws/sns"
}
