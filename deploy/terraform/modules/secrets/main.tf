# Names for secrets. No value is here: Terraform's state must hold none.

resource "aws_secretsmanager_secret" "this" {
  for_each = var.secrets

  name                    = "${var.name}/${each.key}"
  description             = "${each.value.description}; JSON: ${join(", ", each.value.keys)}"
  recovery_window_in_days = var.recovery_days
}
