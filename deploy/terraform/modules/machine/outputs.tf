output "security_group_id" {
  description = "The machine's security group."
  value       = aws_security_group.this.id
}

output "role_arn" {
  description = "The machine's role."
  value       = aws_iam_role.this.arn
}

output "autoscaling_group" {
  description = "The group that brings the machine back."
  value       = aws_autoscaling_group.this.name
}
