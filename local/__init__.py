"""The services this project talks to, on one loopback port, and the calls they hold.

Not deployed and never imported by `src/`: what is here is written from the public facts about
Amazon Connect and Kinesis Video Streams, independently of the decoder that it is used to test.
"""
