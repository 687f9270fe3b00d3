output "fleet" {
  description = "All that the fleet's module gives."
  value       = module.fleet
}
