output "gatherer_files" {
  description = "Each gatherer's YAML file, as its machine has it. It holds no secret."
  value       = module.configuration.gatherer_files
}

output "deduplicator_file" {
  description = "The deduplicator's YAML file, as its machine has it. It holds no secret."
  value       = module.configuration.deduplicator_file
}

output "user_data" {
  description = "cloud-init's document of each machine. It holds no secret."
  value       = module.configuration.user_data
}

output "secret_names" {
  description = "Secrets that a person must fill, by short name (README, Secrets)."
  value       = module.secrets.names
}

output "production_address" {
  description = "Host name of production."
  value       = module.production.address
}

output "production_owner_secret_arn" {
  description = "Secret with the owner's password, for migrations by a person."
  value       = module.production.owner_secret_arn
}

output "bucket" {
  description = "The archive's bucket."
  value       = module.archive.bucket
}

output "workgroup" {
  description = "Athena's workgroup."
  value       = module.analytics.workgroup
}

output "autoscaling_groups" {
  description = "The group of each machine: what an upgrade refreshes, one after the other."
  value = merge(
    { for id, gatherer in module.gatherer : id => gatherer.autoscaling_group },
    { deduplicator = module.deduplicator.autoscaling_group },
    { for monitoring in module.monitoring : "monitoring" => monitoring.autoscaling_group },
  )
}
