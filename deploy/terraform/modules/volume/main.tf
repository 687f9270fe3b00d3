# A gatherer's journal and database: it outlives every machine that it is attached to.

resource "aws_ebs_volume" "this" {
  availability_zone = var.zone
  size              = var.gib
  type              = "gp3"
  iops              = var.iops
  throughput        = var.mib_per_second
  encrypted         = true
  final_snapshot    = var.keep_final_snapshot
  tags              = { Name = "${var.name}-data", Machine = var.name }
}
