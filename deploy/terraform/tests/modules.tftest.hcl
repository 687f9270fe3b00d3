# What must be true of each module, whatever its values: planned by itself, with a mocked provider.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "production" {
  command = plan

  module {
    source = "./modules/production"
  }

  variables {
    name                      = "test"
    vpc_id                    = "vpc-1"
    subnet_ids                = ["subnet-1", "subnet-2"]
    client_security_group_ids = { deduplicator = "sg-1" }
  }

  assert {
    condition     = aws_db_instance.this.publicly_accessible == false && aws_db_instance.this.storage_encrypted && aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection
    error_message = "Production is private, encrypted, has a standby, and is protected against deletion."
  }

  assert {
    condition     = one([for p in aws_db_parameter_group.this.parameter : p.value if p.name == "rds.force_ssl"]) == "1"
    error_message = "Production forces TLS."
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password == true && aws_db_instance.this.password == null
    error_message = "Terraform has no password of production."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period >= 3 && aws_db_instance.this.engine == "postgres"
    error_message = "Production can be restored to a point in time, and is PostgreSQL."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.client : rule.cidr_ipv4 == null && rule.from_port == 5432 && rule.to_port == 5432])
    error_message = "Production is reached from named groups at its port alone."
  }
}

run "archive" {
  command = plan

  module {
    source = "./modules/archive"
  }

  variables {
    bucket = "kalshi-archive-test"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled" && aws_s3_bucket.this.force_destroy == false
    error_message = "The archive is versioned, and is not deleted with what is in it."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_server_side_encryption_configuration.this.rule : one(rule.apply_server_side_encryption_by_default).sse_algorithm]) == "aws:kms"
    error_message = "The archive is encrypted."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "Nothing of the archive is public."
  }

  assert {
    condition     = one([for s in data.aws_iam_policy_document.tls.statement : s.effect if one(s.condition).variable == "aws:SecureTransport"]) == "Deny"
    error_message = "The archive is reached over TLS only."
  }

  assert {
    condition     = toset([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.id]) == toset(["raw", "relations", "replaced", "athena-results"])
    error_message = "Raw frames, relations, replaced versions and query results each have a rule."
  }
}

run "archive_below_a_prefix" {
  command = plan

  module {
    source = "./modules/archive"
  }

  variables {
    bucket = "kalshi-archive-test"
    prefix = "fleet"
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : one(rule.filter).prefix if rule.id == "raw"]) == "fleet/raw/"
    error_message = "The rule for raw frames has the prefix that they are written below."
  }
}

run "machine" {
  command = plan

  module {
    source = "./modules/machine"
  }

  variables {
    name           = "test-gatherer-a"
    vpc_id         = "vpc-1"
    subnet_ids     = ["subnet-1"]
    ami_id         = "ami-1"
    instance_type  = "m7g.large"
    has_data       = true
    volume_arn     = "arn:aws:ec2:us-east-2:123456789012:volume/vol-1"
    user_data      = "#cloud-config"
    zone_id        = "Z1"
    host_name      = "gatherer-a.test.internal"
    secret_arns    = ["arn:aws:secretsmanager:us-east-2:123456789012:secret:a"]
    policy_json    = "{}"
    log_group_arn  = "arn:aws:logs:us-east-2:123456789012:log-group:test"
    log_group_name = "test"
  }

  assert {
    condition     = one(aws_launch_template.this.metadata_options).http_tokens == "required" && one(aws_launch_template.this.metadata_options).http_put_response_hop_limit == 1
    error_message = "Instance metadata is IMDSv2, one hop."
  }

  assert {
    condition     = alltrue([for device in aws_launch_template.this.block_device_mappings : tobool(one(device.ebs).encrypted)])
    error_message = "Every disk is encrypted."
  }

  assert {
    condition     = aws_launch_template.this.key_name == null
    error_message = "No SSH: Session Manager."
  }

  assert {
    condition     = aws_autoscaling_group.this.min_size == 1 && aws_autoscaling_group.this.max_size == 1
    error_message = "One machine, and one at a time: the volume can be attached to one alone."
  }

  assert {
    condition     = alltrue(flatten([for s in data.aws_iam_policy_document.own.statement : [for action in s.actions : !strcontains(action, "*")]]))
    error_message = "No wildcard actions."
  }

  assert {
    condition     = alltrue([for s in data.aws_iam_policy_document.own.statement : !contains(s.resources, "*")])
    error_message = "Every action is limited to the machine's own things."
  }

  assert {
    condition     = one([for s in data.aws_iam_policy_document.own.statement : one(s.resources) if s.sid == "ShipItsLogs"]) == "${var.log_group_arn}:log-stream:${var.name}"
    error_message = "A machine writes the log stream of its name, and no other."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.up.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.up.metric_name == one(aws_cloudwatch_log_metric_filter.up.metric_transformation).name && strcontains(aws_cloudwatch_log_metric_filter.up.pattern, var.name)
    error_message = "A machine that reports nothing raises an alarm."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.tls.from_port == 443 && aws_vpc_security_group_egress_rule.tls.to_port == 443
    error_message = "TLS is all that goes out to addresses."
  }
}

run "volume" {
  command = plan

  module {
    source = "./modules/volume"
  }

  variables {
    name = "test-gatherer-a"
    zone = "us-east-2a"
    gib  = 300
  }

  assert {
    condition     = aws_ebs_volume.this.encrypted && aws_ebs_volume.this.final_snapshot
    error_message = "A data volume is encrypted, and snapshotted before it goes."
  }
}

run "one_exit" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name     = "test"
    cidr     = "10.42.0.0/16"
    zones    = ["us-east-2a", "us-east-2b", "us-east-2c"]
    one_exit = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_eip.nat) == 1 && length(aws_route.nat) == 3
    error_message = "Development has one exit, one public address, and every zone uses it."
  }
}

run "network" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name  = "test"
    cidr  = "10.42.0.0/16"
    zones = ["us-east-2a", "us-east-2b", "us-east-2c"]
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch == false]) && length(distinct([for subnet in aws_subnet.private : subnet.availability_zone])) == 3
    error_message = "Machines have no public address, and three zones."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "Each zone reaches out by itself: no zone depends on another."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 is reached within AWS."
  }
}
