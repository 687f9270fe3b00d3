"""Market state and signals: functions of the record, in integers. Pure: no clock, no network, no database."""
