"""Files go where the endpoint can read them: they stay, travel in the task, or are copied by Globus Transfer."""
