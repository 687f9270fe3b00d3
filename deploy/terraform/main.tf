# The fleet: three gatherers in three zones, a deduplicator, production, the archive, and what watches them.

data "aws_region" "current" {}

# Debian's own list of its images.
data "aws_ssm_parameter" "debian" {
  count = var.ami_id == null ? 1 : 0

  name = "/aws/service/debian/release/12/latest/arm64"
}

locals {
  ami_id = var.ami_id == null ? nonsensitive(data.aws_ssm_parameter.debian[0].value) : var.ami_id
  zones  = sort(distinct([for gatherer in var.gatherers : gatherer.zone]))
  # A machine's name, which is its log stream's too.
  machine_names = { for id in concat(keys(var.gatherers), ["deduplicator", "monitoring"]) : id => "${var.name}-${id}" }
  # Neither has anything that a zone holds: their groups start them in whichever works.
  subnets = [for zone in local.zones : module.network.private_subnet_ids[zone]]
  prefix  = var.archive.prefix == "" ? "" : "${var.archive.prefix}/"
  tables  = keys(jsondecode(file("${path.module}/modules/analytics/tables.json")))

  secrets = merge(
    { for id, gatherer in var.gatherers : "${id}/kalshi" => { description = "Key of ${id} for the exchange", keys = ["key_id", "private_key"] } },
    { for id, gatherer in var.gatherers : "${id}/reader" => { description = "The deduplicator's password at ${id}; letters and digits", keys = ["password"] } },
    {
      "deduplicator/kalshi"     = { description = "Key of the deduplicator for the exchange's REST", keys = ["key_id", "private_key"] }
      "production/deduplicator" = { description = "The deduplicator's password at production; letters and digits", keys = ["password"] }
    },
    var.monitoring.enabled ? { "monitoring/webhooks" = { description = "Where alerts go", keys = ["people_url", "watchdog_url"] } } : {},
  )
}

module "network" {
  source = "./modules/network"

  name     = var.name
  cidr     = var.cidr
  zones    = local.zones
  one_exit = var.one_exit
}

module "archive" {
  source = "./modules/archive"

  bucket                          = var.archive.bucket
  prefix                          = var.archive.prefix
  raw_infrequent_after_days       = var.archive.raw_infrequent_after_days
  raw_glacier_after_days          = var.archive.raw_glacier_after_days
  relations_infrequent_after_days = var.archive.relations_infrequent_after_days
  noncurrent_days                 = var.archive.noncurrent_days
  force_destroy                   = var.archive.force_destroy
}

module "analytics" {
  source = "./modules/analytics"

  database         = replace(var.name, "-", "_")
  bucket           = module.archive.bucket
  prefix           = var.archive.prefix
  scan_limit_bytes = var.archive.athena_scan_limit_bytes
}

module "secrets" {
  source = "./modules/secrets"

  name          = var.name
  secrets       = local.secrets
  recovery_days = var.secret_recovery_days
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/processes"
  retention_in_days = var.log_retention_days
}

module "production" {
  source = "./modules/production"

  name                      = "${var.name}-production"
  vpc_id                    = module.network.vpc_id
  subnet_ids                = values(module.network.private_subnet_ids)
  client_security_group_ids = { deduplicator = module.deduplicator.security_group_id }
  instance_class            = var.production.instance_class
  storage_gib               = var.production.storage_gib
  storage_most_gib          = var.production.storage_most_gib
  multi_az                  = var.production.multi_az
  backup_days               = var.production.backup_days
  deletion_protection       = var.production.deletion_protection
  alarm_topic_arns          = var.alarm_topic_arns
}

# -- what each machine may do with the bucket ---------------------------------------------------------------------

data "aws_iam_policy_document" "gatherer" {
  for_each = var.gatherers

  # What it finds under a segment's name it compares with its own before it writes there.
  statement {
    sid       = "WriteItsOwnRawFrames"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${module.archive.arn}/${local.prefix}raw/gatherer=${each.key}/*"]
  }

  statement {
    sid       = "ReadTheRelease"
    actions   = ["s3:GetObject"]
    resources = ["${module.archive.arn}/${var.release.key}"]
  }
}

data "aws_iam_policy_document" "deduplicator" {
  statement {
    sid     = "WriteTheArchive"
    actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = concat(
      [for table in local.tables : "${module.archive.arn}/${local.prefix}${table}/*"],
      ["${module.archive.arn}/${local.prefix}_manifests/*", "${module.archive.arn}/${local.prefix}quality/*", "${module.archive.arn}/${local.prefix}_reports/*"],
      [for place in ["feed", "feed_markets", "_replaced/feed"] : "${module.archive.arn}/${local.prefix}${place}/*"],
    )
  }

  # Without it S3 answers 403 instead of 404 for an hour that is not there yet.
  statement {
    sid       = "SeeWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [module.archive.arn]
  }

  statement {
    sid       = "ReadTheRelease"
    actions   = ["s3:GetObject"]
    resources = ["${module.archive.arn}/${var.release.key}"]
  }
}

data "aws_iam_policy_document" "monitoring" {
  statement {
    sid       = "ReadTheRelease"
    actions   = ["s3:GetObject"]
    resources = ["${module.archive.arn}/${var.release.key}"]
  }
}

# -- machines -----------------------------------------------------------------------------------------------------

module "volume" {
  source   = "./modules/volume"
  for_each = var.gatherers

  name                = "${var.name}-${each.key}"
  zone                = each.value.zone
  gib                 = each.value.data_gib
  iops                = each.value.data_iops
  mib_per_second      = each.value.data_mib_per_second
  keep_final_snapshot = var.keep_final_snapshots
}

module "gatherer" {
  source   = "./modules/machine"
  for_each = var.gatherers

  name             = local.machine_names[each.key]
  vpc_id           = module.network.vpc_id
  subnet_ids       = [module.network.private_subnet_ids[each.value.zone]]
  ami_id           = local.ami_id
  instance_type    = each.value.instance_type
  has_data         = true
  volume_arn       = module.volume[each.key].arn
  user_data        = module.configuration.user_data[each.key]
  zone_id          = module.network.zone_id
  host_name        = "${each.key}.${module.network.domain}"
  secret_arns      = [module.secrets.arns["${each.key}/kalshi"], module.secrets.arns["${each.key}/reader"]]
  policy_json      = data.aws_iam_policy_document.gatherer[each.key].json
  log_group_arn    = aws_cloudwatch_log_group.this.arn
  log_group_name   = aws_cloudwatch_log_group.this.name
  alarm_topic_arns = var.alarm_topic_arns
}

module "deduplicator" {
  source = "./modules/machine"

  name          = local.machine_names["deduplicator"]
  vpc_id        = module.network.vpc_id
  subnet_ids    = local.subnets
  ami_id        = local.ami_id
  instance_type = var.deduplicator.instance_type
  root_gib      = var.deduplicator.root_gib
  user_data     = module.configuration.user_data["deduplicator"]
  zone_id       = module.network.zone_id
  host_name     = "deduplicator.${module.network.domain}"
  secret_arns = concat(
    [module.secrets.arns["deduplicator/kalshi"], module.secrets.arns["production/deduplicator"]],
    [for id, gatherer in var.gatherers : module.secrets.arns["${id}/reader"]],
  )
  policy_json      = data.aws_iam_policy_document.deduplicator.json
  log_group_arn    = aws_cloudwatch_log_group.this.arn
  log_group_name   = aws_cloudwatch_log_group.this.name
  alarm_topic_arns = var.alarm_topic_arns
}

module "monitoring" {
  source = "./modules/machine"
  count  = var.monitoring.enabled ? 1 : 0

  name             = local.machine_names["monitoring"]
  vpc_id           = module.network.vpc_id
  subnet_ids       = local.subnets
  ami_id           = local.ami_id
  instance_type    = var.monitoring.instance_type
  root_gib         = var.monitoring.root_gib
  user_data        = module.configuration.user_data["monitoring"]
  zone_id          = module.network.zone_id
  host_name        = "monitoring.${module.network.domain}"
  secret_arns      = [module.secrets.arns["monitoring/webhooks"]]
  policy_json      = data.aws_iam_policy_document.monitoring.json
  log_group_arn    = aws_cloudwatch_log_group.this.arn
  log_group_name   = aws_cloudwatch_log_group.this.name
  alarm_topic_arns = var.alarm_topic_arns
}

# -- who may reach whom: by group, never by address ----------------------------------------------------------------

locals {
  monitoring_group = one(module.monitoring[*].security_group_id)

  flows = merge(
    { for id, gatherer in var.gatherers : "deduplicator reads ${id}" => {
      from = module.deduplicator.security_group_id, to = module.gatherer[id].security_group_id, port = 5432
    } },
    var.monitoring.enabled ? merge(
      { for id, gatherer in var.gatherers : "monitoring scrapes ${id}" => {
        from = local.monitoring_group, to = module.gatherer[id].security_group_id, port = 8080
      } },
      { "monitoring scrapes deduplicator" = { from = local.monitoring_group, to = module.deduplicator.security_group_id, port = 8081 } },
    ) : {},
  )
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = each.value.to
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.from
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = each.value.from
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.to
}

# -- what the machines get ------------------------------------------------------------------------------------------

module "configuration" {
  source = "./modules/configuration"

  region      = data.aws_region.current.name
  domain      = module.network.domain
  zone_id     = module.network.zone_id
  client_cidr = var.cidr
  gatherers = {
    for id, gatherer in var.gatherers : id => {
      volume_id   = module.volume[id].id
      connections = gatherer.connections
      journal_gib = gatherer.journal_gib
      memory_max  = gatherer.memory_max
    }
  }
  deduplicator_memory_max = var.deduplicator.memory_max
  kalshi                  = var.kalshi
  production_address      = module.production.address
  retention_days          = var.production.retention_days
  archive                 = { bucket = module.archive.bucket, prefix = var.archive.prefix }
  secrets                 = module.secrets.names
  release                 = var.release
  log_group               = aws_cloudwatch_log_group.this.name
  log_streams             = local.machine_names
  postgresql              = var.postgresql
  alert_webhooks          = var.monitoring.enabled ? "monitoring/webhooks" : null
}
