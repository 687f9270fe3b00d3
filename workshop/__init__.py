"""What builds and proves the fleet, and never ships."""
