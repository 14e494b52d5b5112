"""What sources cost: time, and memory of the controller and its workers."""
