"""Pages and files that are made from the code: dashboards, metrics, sizes, tables."""
