# Production: plain PostgreSQL on RDS (TimescaleDB is not among its extensions), private, encrypted, TLS forced.

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  subnet_ids  = var.subnet_ids
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "${var.name}: PostgreSQL from the groups that are allowed by name"
  vpc_id      = var.vpc_id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL from ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = each.value
}

resource "aws_vpc_security_group_egress_rule" "client" {
  for_each = var.client_security_group_ids

  security_group_id            = each.value
  description                  = "PostgreSQL at ${var.name}"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.this.id
}

# For bulk loads: few, large checkpoints; compressed full pages; vacuum that keeps up with new partitions.
resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres17"
  description = "${var.name}: TLS forced, sized for bulk loads"

  dynamic "parameter" {
    for_each = {
      "rds.force_ssl"                         = "1"
      "max_wal_size"                          = "16384"
      "checkpoint_timeout"                    = "900"
      "checkpoint_completion_target"          = "0.9"
      "wal_compression"                       = "zstd"
      "maintenance_work_mem"                  = "1048576"
      "autovacuum_vacuum_cost_limit"          = "2000"
      "autovacuum_vacuum_insert_scale_factor" = "0.05"
      "idle_in_transaction_session_timeout"   = "600000"
      "log_min_duration_statement"            = "5000"
      "log_lock_waits"                        = "1"
      "log_connections"                       = "1"
      "log_disconnections"                    = "1"
    }

    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = "immediate"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

data "aws_iam_policy_document" "monitoring_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

data "aws_partition" "current" {}

resource "aws_iam_role" "monitoring" {
  name_prefix        = "${substr(var.name, 0, 26)}-rds-"
  assume_role_policy = data.aws_iam_policy_document.monitoring_assume.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.instance_class
  db_name        = "kalshi"
  username       = "owner"
  # RDS makes and keeps the password; neither Terraform nor its state ever has it.
  manage_master_user_password = true

  allocated_storage     = var.storage_gib
  max_allocated_storage = var.storage_most_gib
  storage_type          = "gp3"
  storage_encrypted     = true

  multi_az               = var.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period   = var.backup_days
  backup_window             = "09:10-09:40"
  maintenance_window        = "thu:08:00-thu:09:00" # UTC: within the exchange's own maintenance (Thursdays, 3 to 5, New York)
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-final" : null

  auto_minor_version_upgrade      = true
  allow_major_version_upgrade     = false
  apply_immediately               = false
  performance_insights_enabled    = true
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = {
    storage   = { metric = "FreeStorageSpace", below = true, threshold = 20 * 1024 * 1024 * 1024, says = "less than 20 GiB are free" }
    processor = { metric = "CPUUtilization", below = false, threshold = 85, says = "it is busy" }
    memory    = { metric = "FreeableMemory", below = true, threshold = 256 * 1024 * 1024, says = "memory is short" }
  }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "Production: ${each.value.says} (docs/runbooks/production-stopped.md)."
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = each.value.threshold
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  dimensions          = { DBInstanceIdentifier = aws_db_instance.this.identifier }
}
