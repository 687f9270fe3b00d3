# What must be true of the fleet, whatever its values: `terraform test` with a mocked provider, no account, no network.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  gatherers = {
    gatherer-a = { zone = "us-east-2a" }
    gatherer-b = { zone = "us-east-2b" }
    gatherer-c = { zone = "us-east-2c" }
  }
  archive = { bucket = "kalshi-archive-test" }
  release = { key = "releases/kalshi-fleet-0.1.0.tar.gz", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
}

run "three_zones" {
  command = apply

  assert {
    condition     = length(module.network.private_subnet_ids) == 3
    error_message = "Three gatherers need three zones, each with a subnet of its own."
  }

  assert {
    condition     = length(output.autoscaling_groups) == 5
    error_message = "Three gatherers, the deduplicator and the monitoring host each have a group that brings them back."
  }

  assert {
    condition     = length(local.subnets) == 3 && length(distinct(local.subnets)) == 3
    error_message = "Any zone can carry the deduplicator."
  }

  assert {
    condition     = alltrue([for id, name in local.machine_names : !contains(keys(output.user_data), id) || strcontains(output.user_data[id], "LOG_STREAM=\"${name}\"")])
    error_message = "Each machine gets the log stream that its role may write."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.referenced_security_group_id != null])
    error_message = "Nothing comes in by address: security groups are allowed by reference."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.flow : rule.from_port]) == toset([5432, 8080, 8081])
    error_message = "Only the databases and the metrics are reached."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.from_port == rule.to_port && rule.ip_protocol == "tcp"])
    error_message = "One port a rule."
  }

  assert {
    condition     = toset(keys(output.secret_names)) == toset(["gatherer-a/kalshi", "gatherer-b/kalshi", "gatherer-c/kalshi", "gatherer-a/reader", "gatherer-b/reader", "gatherer-c/reader", "deduplicator/kalshi", "production/deduplicator", "monitoring/webhooks"])
    error_message = "One key per gatherer, one password per account."
  }

  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.deduplicator.statement : alltrue([for action in statement.actions : !strcontains(action, "*")])])
    error_message = "No wildcard actions for the deduplicator."
  }

  assert {
    condition = alltrue([for policy in data.aws_iam_policy_document.gatherer :
      { for statement in policy.statement : statement.sid => join(" ", sort(statement.actions)) } == {
        WriteItsOwnRawFrames = "s3:AbortMultipartUpload s3:GetObject s3:PutObject"
        ReadTheRelease       = "s3:GetObject"
      }
    ])
    error_message = "A gatherer writes raw frames and reads what is there and its release, nothing else."
  }

  assert {
    condition = alltrue([for id, policy in data.aws_iam_policy_document.gatherer :
      alltrue([for statement in policy.statement : alltrue([for resource in statement.resources : strcontains(resource, "/raw/gatherer=${id}/") || endswith(resource, var.release.key)])])
    ])
    error_message = "A gatherer writes below its own name alone."
  }
}

run "no_monitoring" {
  command = plan

  variables {
    monitoring = { enabled = false }
  }

  assert {
    condition     = length(module.monitoring) == 0 && !contains(keys(output.secret_names), "monitoring/webhooks")
    error_message = "The monitoring host can be turned off."
  }
}

run "one_zone_is_refused" {
  command = plan

  variables {
    gatherers = {
      gatherer-a = { zone = "us-east-2a" }
      gatherer-b = { zone = "us-east-2a" }
    }
  }

  expect_failures = [var.gatherers]
}

run "too_many_connections_are_refused" {
  command = plan

  variables {
    gatherers = {
      gatherer-a = { zone = "us-east-2a", connections = { orderbook = 195 } }
      gatherer-b = { zone = "us-east-2b" }
    }
  }

  expect_failures = [var.gatherers]
}

run "an_exchange_without_tls_is_refused" {
  command = plan

  variables {
    kalshi = { rest_url = "http://exchange.example" }
  }

  expect_failures = [var.kalshi]
}

run "a_release_without_a_digest_is_refused" {
  command = plan

  variables {
    release = { key = "releases/x.tar.gz", sha256 = "latest" }
  }

  expect_failures = [var.release]
}

run "an_unpinned_timescaledb_is_refused" {
  command = plan

  variables {
    postgresql = { timescaledb = "latest" }
  }

  expect_failures = [var.postgresql]
}
