"""A local fleet from the files that deployed machines would have: their addresses replaced by local ones, nothing else,
but for the times, which are the demo's."""

from __future__ import annotations

from typing import Any

import yaml

from workshop.rehearsal.local import BUCKET, FAST, FleetPlan, LocalFleet


class RenderedFleet(LocalFleet):
    """`files`: each process's YAML text, by name."""

    def __init__(self, plan: FleetPlan, files: dict[str, str]) -> None:
        super().__init__(plan)
        self._files = files
        self.environment = {name: {"KALSHI_KEY_ID": name} for name in (*plan.gatherers, "deduplicator")}

    def write_configs(self) -> None:
        """Write the files, with local addresses."""
        for name in self.plan.gatherers:
            self._write(name, self._gatherer(name, yaml.safe_load(self._files[name])))
        self._write("deduplicator", self._deduplicator(yaml.safe_load(self._files["deduplicator"])))

    def _gatherer(self, name: str, content: dict[str, Any]) -> dict[str, Any]:
        content["kalshi"] |= self._local_exchange(name)
        content["database"]["dsn"] = f"embedded:{self.folder / name / 'db'}"
        content["journal"] |= {"dir": str(self.folder / name / "journal")}
        content["journal"]["raw"] |= {"bucket": BUCKET, "endpoint_url": self.s3_url}
        content["http"] |= {"host": "127.0.0.1", "port": self.ports[name]}
        return content | FAST

    def _deduplicator(self, content: dict[str, Any]) -> dict[str, Any]:
        content["kalshi"] |= self._local_exchange("deduplicator")
        for source in content["gatherers"]:
            source["dsn"] = self.gatherer_dsn(source["id"])
        content["production"]["dsn"] = self.production_dsn
        content["archive"] |= {"bucket": BUCKET, "endpoint_url": self.s3_url, "interval": "1h"}
        content["archive"]["spool_dir"] = str(self.folder)
        content["http"] |= {"host": "127.0.0.1", "port": self.ports["deduplicator"]}
        content["merge"] = {"hole_wait": self.plan.hole_wait, "metadata_poll": "5s"}
        return content

    def _local_exchange(self, name: str) -> dict[str, Any]:
        local = self._exchange(name)
        local.pop("key_id")  # from the environment, as on a machine
        if name == "deduplicator":
            local.pop("ws_url")
        return local
