SELECT segment, end_offset, reason FROM refused_records WHERE lane = $1 AND journal = $2
