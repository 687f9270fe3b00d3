# One machine in one zone: a group of size one brings it back; its data volume outlives it and is attached again.

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  arn_prefix = "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

# -- what it may do ---------------------------------------------------------------------------------------------

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name_prefix        = "${substr(var.name, 0, 30)}-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "own" {
  dynamic "statement" {
    for_each = var.has_data ? [var.volume_arn] : []

    content {
      sid       = "AttachItsOwnVolume"
      actions   = ["ec2:AttachVolume"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.has_data ? [var.volume_arn] : []

    content {
      sid       = "ToMachinesOfItsName"
      actions   = ["ec2:AttachVolume"]
      resources = ["${local.arn_prefix}:instance/*"]

      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/Machine"
        values   = [var.name]
      }
    }
  }

  statement {
    sid       = "WriteItsOwnAddress"
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = ["arn:${data.aws_partition.current.partition}:route53:::hostedzone/${var.zone_id}"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = [var.host_name]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsRecordTypes"
      values   = ["A"]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsActions"
      values   = ["UPSERT"]
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_arns) > 0 ? [var.secret_arns] : []

    content {
      sid       = "ReadItsOwnSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  statement {
    sid       = "ShipItsLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:log-stream:${var.name}"]
  }
}

resource "aws_iam_role_policy" "own" {
  name   = "own"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.own.json
}

resource "aws_iam_role_policy" "more" {
  name   = "more"
  role   = aws_iam_role.this.id
  policy = var.policy_json
}

# Session Manager instead of SSH.
resource "aws_iam_role_policy_attachment" "session_manager" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${substr(var.name, 0, 30)}-"
  role        = aws_iam_role.this.name
}

# -- what it may reach, and who may reach it ----------------------------------------------------------------------

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "${var.name}: nothing comes in but what other groups are allowed by name"
  vpc_id      = var.vpc_id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_egress_rule" "tls" {
  security_group_id = aws_security_group.this.id
  description       = "The exchange, AWS, packages: TLS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# -- the machine --------------------------------------------------------------------------------------------------

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  user_data              = base64gzip(var.user_data)
  update_default_version = true
  vpc_security_group_ids = [aws_security_group.this.id]
  ebs_optimized          = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.root_gib
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name, Machine = var.name }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-root" }
  }
}

resource "aws_autoscaling_group" "this" {
  name_prefix               = "${var.name}-"
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  vpc_zone_identifier       = var.subnet_ids
  health_check_type         = "EC2"
  health_check_grace_period = var.health_grace_seconds
  wait_for_capacity_timeout = "0"
  # The previous machine goes first: the volume can be attached to one alone.
  termination_policies = ["OldestInstance"]

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }

  lifecycle {
    precondition {
      condition     = !var.has_data || length(var.subnet_ids) == 1
      error_message = "A machine with a data volume stays in the volume's zone: one subnet."
    }
  }

  # No instance_refresh: a new version reaches a gatherer when a person replaces it, one at a time, with the check
  # between (docs/runbooks/upgrade.md).
}

# -- alarms -------------------------------------------------------------------------------------------------------

resource "aws_cloudwatch_metric_alarm" "status" {
  alarm_name          = "${var.name}-status"
  alarm_description   = "The machine ${var.name} fails EC2's checks; its group replaces it, its volume is attached again."
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  dimensions          = { AutoScalingGroupName = aws_autoscaling_group.this.name }
}

# The machine itself reports each minute whether its service is up, through its log: no line, no working machine.
resource "aws_cloudwatch_log_metric_filter" "up" {
  name           = "${var.name}-up"
  log_group_name = var.log_group_name
  pattern        = "{ ($.event = \"heartbeat\") && ($.machine = \"${var.name}\") && ($.up = 1) }"

  metric_transformation {
    namespace = "KalshiFleet"
    name      = "${var.name}-up"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "up" {
  alarm_name          = "${var.name}-up"
  alarm_description   = "The service on ${var.name} has not been up for a quarter of an hour: its log stream has the reason, a session works (docs/runbooks/machine-not-up.md)."
  namespace           = "KalshiFleet"
  metric_name         = aws_cloudwatch_log_metric_filter.up.metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "processor" {
  alarm_name          = "${var.name}-processor"
  alarm_description   = "The machine ${var.name} has been busy for a quarter of an hour: see docs/sizing.md."
  namespace           = "AWS/EC2"
  metric_name         = "CPUUtilization"
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = 85
  comparison_operator = "GreaterThanThreshold"
  alarm_actions       = var.alarm_topic_arns
  dimensions          = { AutoScalingGroupName = aws_autoscaling_group.this.name }
}
