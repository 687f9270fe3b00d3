output "workgroup" {
  description = "Athena's workgroup."
  value       = aws_athena_workgroup.this.name
}

output "database" {
  description = "Glue's database."
  value       = aws_glue_catalog_database.this.name
}
