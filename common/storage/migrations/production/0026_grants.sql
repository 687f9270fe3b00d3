-- Since 0024 the writer may only add to a new table; what it also changes is granted by name.
GRANT UPDATE ON store.held TO kalshi_writer;
