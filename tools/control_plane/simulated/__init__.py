"""Dashboards of Ray clusters that do not exist: what Serve says, its proxy, and how tests steer it."""
