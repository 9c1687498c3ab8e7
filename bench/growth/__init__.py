"""What it costs as the work grows: a module for each thing that grows."""
