output "id" {
  description = "The volume."
  value       = aws_ebs_volume.this.id
}

output "arn" {
  description = "The volume's ARN."
  value       = aws_ebs_volume.this.arn
}
