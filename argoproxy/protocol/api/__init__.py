"""protocol: put the API's own rules into protocol/api"""
