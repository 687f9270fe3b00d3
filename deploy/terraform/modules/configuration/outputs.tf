output "gatherer_files" {
  description = "Each gatherer's YAML file, by id."
  value       = local.gatherer_files
}

output "deduplicator_file" {
  description = "The deduplicator's YAML file."
  value       = local.deduplicator_file
}

output "user_data" {
  description = "cloud-init's document of each machine."
  value       = local.user_data
}
