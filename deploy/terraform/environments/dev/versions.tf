terraform {
  required_version = ">= 1.10"

  # The state: versioned, encrypted, locked by a file beside it. Make the bucket by hand, once (README, Before the first apply).
  backend "s3" {
    bucket       = "CHANGE-ME-terraform-state"
    key          = "kalshi-fleet/dev.tfstate"
    region       = "us-east-2"
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}
