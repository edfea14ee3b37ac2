"""What runs on the microscope PC: finds tiles, has them scored, judges them in the context of their run."""
