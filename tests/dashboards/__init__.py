"""The dashboards as Grafana reads them, and what each of their panels returns."""
