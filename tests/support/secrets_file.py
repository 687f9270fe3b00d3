"""A configuration with a secret in every place that may have one."""

from __future__ import annotations

WORD = "kx9-Very/Secret+word"


CONFIG = """\
deduplicator_id: deduplicator
gatherers:
  - {id: gatherer-a, dsn: "postgresql://reader:${READER}@gatherer-a/kalshi"}
production: {dsn: "postgresql://deduplicator:kx9-Very%2FSecret%2Bword@production/kalshi"}
kalshi: {rest_url: "https://exchange.example", key_id: 0f3c9a77-1111-4222-8333-444455556666, private_key_file: k.pem}
http: {page: {password: a-page-password}}
"""
