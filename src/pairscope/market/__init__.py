"""What the market says, as columns: ticks, bars, trade-id continuity. No I/O, no clock."""
