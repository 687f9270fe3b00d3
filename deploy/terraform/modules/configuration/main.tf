# What the machines get: the processes' files, and cloud-init's document that puts them there. No provider, no
# network: it can be rendered and checked anywhere.

locals {
  gatherer_files = {
    for id, gatherer in var.gatherers : id => yamlencode({
      gatherer_id = id
      kalshi = {
        rest_url         = var.kalshi.rest_url
        ws_url           = var.kalshi.ws_url
        key_id           = "$${KALSHI_KEY_ID}"
        private_key_file = "/run/kalshi/private_key.pem"
        transport        = var.kalshi.transport
      }
      # Its own database, through the socket, as its own user: no password.
      database = { dsn = "postgresql://kalshi@/kalshi?host=/var/run/postgresql" }
      journal = {
        dir       = "/var/lib/kalshi/journal"
        max_bytes = "${gatherer.journal_gib}GiB"
        raw       = { bucket = var.archive.bucket, prefix = var.archive.prefix, region = var.region }
      }
      connections = gatherer.connections
      retention   = { keep_after_ack = "72h", max_disk = "80%" }
      http        = { host = "0.0.0.0", port = 8080 } # its security group lets the monitoring host in, and nobody else
      logging     = { level = "info", format = "json" }
    })
  }

  deduplicator_file = yamlencode({
    deduplicator_id = "deduplicator"
    gatherers = [
      for id, gatherer in var.gatherers : {
        id  = id
        dsn = "postgresql://reader:$${READER_PASSWORD_${upper(replace(id, "-", "_"))}}@${id}.${var.domain}:5432/kalshi?sslmode=require"
      }
    ]
    production = {
      dsn       = "postgresql://deduplicator:$${PRODUCTION_PASSWORD}@${var.production_address}:5432/kalshi?sslmode=verify-full&sslrootcert=/etc/kalshi/rds-ca.pem"
      retention = { orderbook_deltas = "${var.retention_days}d" }
    }
    kalshi = {
      rest_url         = var.kalshi.rest_url
      key_id           = "$${KALSHI_KEY_ID}"
      private_key_file = "/run/kalshi/private_key.pem"
    }
    archive = { bucket = var.archive.bucket, prefix = var.archive.prefix, region = var.region, spool_dir = "/var/lib/kalshi/spool" }
    http    = { host = "0.0.0.0", port = 8081 }
    logging = { level = "info", format = "json" }
  })

  # Which secret goes where, a line each: what it becomes (env or file), its name there, the secret, the key in its JSON.
  gatherer_secrets = {
    for id, gatherer in var.gatherers : id => [
      "env KALSHI_KEY_ID ${var.secrets["${id}/kalshi"]} key_id",
      "file private_key.pem ${var.secrets["${id}/kalshi"]} private_key",
      "file reader_password ${var.secrets["${id}/reader"]} password",
    ]
  }

  deduplicator_secrets = concat(
    [
      "env KALSHI_KEY_ID ${var.secrets["deduplicator/kalshi"]} key_id",
      "file private_key.pem ${var.secrets["deduplicator/kalshi"]} private_key",
      "env PRODUCTION_PASSWORD ${var.secrets["production/deduplicator"]} password",
    ],
    [
      for id, gatherer in var.gatherers :
      "env READER_PASSWORD_${upper(replace(id, "-", "_"))} ${var.secrets["${id}/reader"]} password"
    ],
  )

  monitoring_secrets = var.alert_webhooks == null ? [] : [
    "file people_url ${var.secrets[var.alert_webhooks]} people_url",
    "file watchdog_url ${var.secrets[var.alert_webhooks]} watchdog_url",
  ]

  machines = merge(
    {
      for id, gatherer in var.gatherers : id => {
        role    = "gatherer"
        port    = 8080
        file    = local.gatherer_files[id]
        secrets = local.gatherer_secrets[id]
        volume  = gatherer.volume_id
        memory  = gatherer.memory_max
        targets = ""
      }
    },
    {
      deduplicator = {
        role    = "deduplicator"
        port    = 8081
        file    = local.deduplicator_file
        secrets = local.deduplicator_secrets
        volume  = ""
        memory  = var.deduplicator_memory_max
        targets = ""
      }
    },
    {
      monitoring = {
        role    = "monitoring"
        port    = 9090
        file    = ""
        secrets = local.monitoring_secrets
        volume  = ""
        memory  = ""
        targets = join(" ", concat([for id, gatherer in var.gatherers : "${id}.${var.domain}:8080"], ["deduplicator.${var.domain}:8081"]))
      }
    },
  )

  scripts = fileset("${path.module}/scripts", "*")
  units   = fileset("${path.module}/units", "*.service")

  # Nothing that lives on the volume starts without it, in whatever order things are started: not on the root disk.
  on_the_volume = ["AssertPathIsMountPoint=/srv/kalshi-data", "AssertPathIsMountPoint=/var/lib/kalshi", "RequiresMountsFor=/srv/kalshi-data /var/lib/kalshi"]

  user_data = {
    for id, machine in local.machines : id => join("\n", ["#cloud-config", yamlencode({
      package_update = false
      write_files = concat(
        [
          {
            path        = "/etc/kalshi/machine.env"
            permissions = "0644"
            content = join("", [for name, value in {
              ROLE       = machine.role
              MACHINE    = id
              AWS_REGION = var.region
              # Of the machine's own keys: by default one try of one second, which a busy machine misses.
              AWS_METADATA_SERVICE_TIMEOUT      = 5
              AWS_METADATA_SERVICE_NUM_ATTEMPTS = 5
              VOLUME_ID                         = machine.volume
              ZONE_ID                           = var.zone_id
              HOST_NAME                         = "${id}.${var.domain}"
              CLIENT_CIDR                       = var.client_cidr
              RELEASE                           = "s3://${var.archive.bucket}/${var.release.key}"
              RELEASE_SHA256                    = var.release.sha256
              LOG_GROUP                         = var.log_group
              LOG_STREAM                        = var.log_streams[id]
              PORT                              = machine.port
              POSTGRESQL                        = var.postgresql.version
              TIMESCALEDB                       = coalesce(var.postgresql.timescaledb, "none") == "none" ? "" : var.postgresql.timescaledb
              TARGETS                           = machine.targets
            } : "${name}=\"${value}\"\n"])
          },
          { path = "/etc/kalshi/secrets.conf", permissions = "0644", content = join("", [for line in machine.secrets : "${line}\n"]) },
        ],
        machine.file == "" ? [] : [
          { path = "/etc/kalshi/${machine.role}.yaml", permissions = "0644", content = machine.file },
          {
            path        = "/etc/systemd/system/kalshi-${machine.role}.service.d/aws.conf"
            permissions = "0644"
            content = join("\n", concat(
              [
                "# kalshi-boot starts it, last; the rest is for a start in another way, and for the order of the end.",
                "[Unit]",
                "After=kalshi-data.service postgresql@${var.postgresql.version}-main.service",
                "AssertPathExists=/run/kalshi/secrets.env",
                "StartLimitIntervalSec=0",
              ],
              machine.role == "gatherer" ? local.on_the_volume : [],
              [
                "",
                "[Service]",
                "EnvironmentFile=/run/kalshi/secrets.env",
                "Environment=AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=5",
                # What a person must change is changed elsewhere (production's schema, a key): nobody starts this again.
                "RestartPreventExitStatus=",
                "RestartPreventExitStatus=4",
                "RestartSec=15",
                "MemoryMax=${machine.memory}",
                "",
              ],
            ))
          },
        ],
        machine.role != "gatherer" ? [] : [
          {
            # For every cluster: postgresql.service itself is empty in Debian.
            path        = "/etc/systemd/system/postgresql@.service.d/kalshi.conf"
            permissions = "0644"
            content = join("\n", concat(
              ["[Unit]", "After=kalshi-data.service", "StartLimitIntervalSec=0"],
              local.on_the_volume,
              ["", "[Service]", "Restart=on-failure", "RestartSec=5", ""],
            ))
          },
        ],
        machine.role != "deduplicator" ? [] : [
          {
            path        = "/etc/systemd/system/kalshi-report.service.d/aws.conf"
            permissions = "0644"
            content     = "[Unit]\nAssertPathExists=/run/kalshi/secrets.env\n\n[Service]\nEnvironmentFile=/run/kalshi/secrets.env\n"
          },
        ],
        [for script in local.scripts : { path = "/opt/kalshi-machine/${script}", permissions = "0755", content = file("${path.module}/scripts/${script}") }],
        [for unit in local.units : { path = "/etc/systemd/system/${unit}", permissions = "0644", content = file("${path.module}/units/${unit}") }],
        [
          {
            path        = "/etc/systemd/journald.conf.d/kalshi.conf"
            permissions = "0644"
            content     = "[Journal]\nSystemMaxUse=1G\nMaxRetentionSec=14day\n"
          },
          {
            # Amazon's time service, a hop away; steps only while the machine starts: later ones end proof (docs/runbooks).
            path        = "/etc/chrony/conf.d/amazon.conf"
            permissions = "0644"
            content     = "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4\nmakestep 0.1 3\n"
          },
        ],
      )
      # Nothing here can fail: units do the rest, which try again and can be seen.
      runcmd = [
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "--now", "--no-block", "kalshi-logs.service", "kalshi-session.service", "kalshi-boot.service"],
      ]
    })])
  }
}
