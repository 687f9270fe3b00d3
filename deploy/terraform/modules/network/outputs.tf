output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Private subnet by zone."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "zone_id" {
  description = "The private hosted zone of the machines' names."
  value       = aws_route53_zone.this.zone_id
}

output "domain" {
  description = "Domain of the machines' names."
  value       = aws_route53_zone.this.name
}
