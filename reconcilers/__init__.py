"""What turns a Workspace into Machines, a workload and a status."""
