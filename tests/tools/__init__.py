"""What is around the programs: documents, deployment, benchmarks, planted faults."""
