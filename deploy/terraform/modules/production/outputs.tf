output "address" {
  description = "Host name of production."
  value       = aws_db_instance.this.address
}

output "owner_secret_arn" {
  description = "Secret with the owner's password, which RDS keeps and rotates. No machine may read it."
  value       = one(aws_db_instance.this.master_user_secret[*].secret_arn)
}

output "security_group_id" {
  description = "Production's security group."
  value       = aws_security_group.this.id
}
