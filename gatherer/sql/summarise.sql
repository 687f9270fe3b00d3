SELECT brin_summarize_new_values('deltas_batch')
