"""The driver of one process: reports in, the call's flow decides, commands out.

It knows the engine by its protocol alone.

admission                           the rules of calls, made of the configuration
agent, carrying                     the inbox and its turns; commands carried out
calls                               the calls that are up, their legs and receipts; those turned away
engine                              the protocol of a SIP and media engine, and its reports
board, operators, shared_board      the board chooses operators; the ways to it; the one of all hosts
recorder, row_writer                write recordings and rows off the SIP thread; finish those of a crash
stored                              chooses the stores of rows and recordings, in one place
figures                             counts
quality                             how good the line of a call was, by what the engine has counted
"""
