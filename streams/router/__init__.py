"""The Faust app: subscription changes and events in; endpoints, deliveries and skipped results out."""
