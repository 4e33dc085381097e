"""The driver of one process: reports in, the call's flow decides, commands out.

It knows the engine by its protocol alone.

admission                           what the configuration makes of calls
agent, carrying                     the inbox and its turns; commands carried out
calls                               the calls that are up, their legs and receipts; those turned away
engine                              what is asked of a SIP and media engine, and what it reports
board, operators, shared_board      who is rung; the ways to the board; that of all hosts
recorder, row_writer                what calls leave behind, written off the SIP thread; what a crash left
stored                              what keeps rows and recordings: the one place that chooses
figures                             what was counted
"""
